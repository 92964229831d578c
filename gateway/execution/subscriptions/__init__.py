"""Subscriptions: what is watched is read once after each change, and delivered to all who watch it.

event ─▶ watch (one thread or customer, one credential): one read ─▶ feeds (one selection each): built and encoded
once ─▶ subscriptions (one client each): the latest state waits until the client takes it
"""

from gateway.execution.subscriptions.subscription import EndReason, Subscriber, Subscription
from gateway.execution.subscriptions.subscriptions import SubscriptionLimits, Subscriptions
from gateway.execution.subscriptions.watch import Pace

__all__ = ["EndReason", "Pace", "Subscriber", "Subscription", "SubscriptionLimits", "Subscriptions"]
