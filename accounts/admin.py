"""Registered so that staff can sign in; the pages for keys and projects are in this file too."""

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin

from accounts.models import User

admin.site.register(User, UserAdmin)
