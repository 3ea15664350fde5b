"""What the integration tests are made of: the gateway as a process, a scripted upstream, and a raw HTTP client."""
