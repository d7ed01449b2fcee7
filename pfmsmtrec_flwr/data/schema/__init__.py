"""What a data set's schema may say, and its checks."""
