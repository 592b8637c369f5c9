"""What a preparation may leave out: each file judges one kind of thing."""
