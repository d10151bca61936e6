"""Claude Agent SDK and Claude Code: answers for permission prompts (the extra `claude-agent-sdk`).

    approvals = ClaudeApprovals(client, "ticket 4711")
    ended = [HookMatcher(hooks=[approvals.tool_ended])]
    options = ClaudeAgentOptions(
        can_use_tool=approvals.can_use_tool, hooks={"PostToolUse": ended, "PostToolUseFailure": ended}
    )

Claude Code itself asks over MCP: see `python -m wardroom.mcp --permission-prompt`.
"""

from typing import Any

from wardroom.adapters.calls import Conversation, ToolCall
from wardroom.extras import require
from wardroom.gate.action import Arguments
from wardroom.gate.refusals import ApprovalPending, NotApproved


class ClaudeApprovals(Conversation):
    """Asks for each tool call that would prompt the user."""

    async def can_use_tool(self, tool_name: str, arguments: Arguments, context: Any) -> Any:
        """Return `PermissionResultAllow` with the approved arguments, or `PermissionResultDeny` with the reason.

        Without an answer in time the run is interrupted: nobody refused, so the model must not work around it.
        """
        sdk = require("claude_agent_sdk", "claude-agent-sdk")
        if not context.tool_use_id:
            return sdk.PermissionResultDeny(message="The call has no id. It did not run.", interrupt=True)
        verdict = await self.verdict(ToolCall(context.tool_use_id, tool_name, arguments))
        if isinstance(verdict, NotApproved):
            return sdk.PermissionResultDeny(message=str(verdict), interrupt=isinstance(verdict, ApprovalPending))
        return sdk.PermissionResultAllow(updated_input=verdict)

    async def tool_ended(self, event: Any, tool_use_id: str | None, context: Any) -> dict[str, Any]:
        """Report how a tool ended: a hook for `PostToolUse` and `PostToolUseFailure`."""
        has_failed = event.get("hook_event_name") == "PostToolUseFailure"
        await self.finished(tool_use_id or "", "failed" if has_failed else "ran")
        return {}

    async def permission_prompt(self, tool_name: str, arguments: Arguments, tool_use_id: str) -> dict[str, Any]:
        """Return the answer to a permission prompt of Claude Code as its JSON."""
        verdict = await self.verdict(ToolCall(tool_use_id, tool_name, arguments))
        if isinstance(verdict, NotApproved):
            pending = {"interrupt": True} if isinstance(verdict, ApprovalPending) else {}
            return {"behavior": "deny", "message": str(verdict), **pending}
        return {"behavior": "allow", "updatedInput": verdict}
