"""Loaders that users know, each as its documentation recommends, beside ours."""
