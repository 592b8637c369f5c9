"""The program that lets a trained model speak."""
