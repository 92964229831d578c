"""Operations whose results are sent one by one: what all transports share, and the two that are HTTP responses."""
