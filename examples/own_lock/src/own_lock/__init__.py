"""Record locks as modes of Turnstile."""
