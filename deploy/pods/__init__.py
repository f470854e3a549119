"""What runs inside the pods of the development overlay, beside the services and the sandbox."""
