-- What every call with a key runs, on PostgreSQL: the key, and what its owner may grant now. Django takes longer to
-- build these statements than the database to answer them. `core.db.named_sql` reads this file.

-- The owner is in a group that the project names: the same rule as `projects.visible_to`.
-- fragment: sees
EXISTS (
    SELECT 1 FROM accounts_project_groups named JOIN accounts_user_groups member ON member.group_id = named.group_id
    WHERE named.project_id = accounts_credential.project_id AND member.user_id = accounts_credential.user_id
)

-- The members of `scopes.permissions()` that the owner holds, directly or by a group: the same rule as `has_perm`.
-- fragment: holds
(
    SELECT STRING_AGG(app.app_label || '.' || held.codename, ',')
    FROM auth_permission held JOIN django_content_type app ON app.id = held.content_type_id
    WHERE held.codename = ANY(%s) AND held.id IN (
        SELECT permission_id FROM accounts_user_user_permissions WHERE user_id = accounts_credential.user_id
        UNION ALL
        SELECT given.permission_id FROM auth_group_permissions given
        JOIN accounts_user_groups member ON member.group_id = given.group_id
        WHERE member.user_id = accounts_credential.user_id
    )
)

-- name: owner_sees
{sees}

-- name: owner_holds
{holds}

-- The credentials of these ids, with the columns of `bulk_authentication.FIELDS` and `OWNERS_FIELDS`.
-- name: find_credentials
SELECT accounts_credential.id, accounts_credential.public_id, accounts_credential.secret_hash,
    accounts_credential.kind, accounts_credential.project_id, accounts_credential.user_id, accounts_credential.name,
    accounts_credential.subject, accounts_credential.attempt, accounts_credential.scopes, accounts_credential.ended_at,
    accounts_user.id, accounts_user.is_superuser, accounts_user.username, accounts_user.is_staff,
    accounts_user.is_active,
    COALESCE(accounts_credential.expires_at <= COALESCE(%s::timestamptz, statement_timestamp()), FALSE), {sees}, {holds}
FROM accounts_credential LEFT JOIN accounts_user ON accounts_user.id = accounts_credential.user_id
WHERE accounts_credential.public_id = ANY(%s)
