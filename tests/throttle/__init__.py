"""The throttle, the breaker and the retry budget, without a clock and without waiting."""
