"""What an operation costs in REST calls: the estimate, and the policy that uses it."""
