"""The server's mathematics on tensors: conflict coordination, personalised aggregation, towers, row-wise averages."""
