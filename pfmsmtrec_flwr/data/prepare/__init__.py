"""From a data set's own files to prepared stores."""
