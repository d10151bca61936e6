"""Put an approval before a function: `@require_approval`, `human_as_tool`, and the gate that adapters are built on."""

from wardroom.gate.action import Action, Policy
from wardroom.gate.async_gate import AsyncGate, ChildGate
from wardroom.gate.decorator import require_approval
from wardroom.gate.gate import Gate
from wardroom.gate.human import human_as_tool
from wardroom.gate.refusals import (
    ApprovalCancelled,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalPending,
    ApprovalUnusable,
    NotApproved,
)

__all__ = [
    "Action",
    "ApprovalCancelled",
    "ApprovalDenied",
    "ApprovalExpired",
    "ApprovalPending",
    "ApprovalUnusable",
    "AsyncGate",
    "ChildGate",
    "Gate",
    "NotApproved",
    "Policy",
    "human_as_tool",
    "require_approval",
]
