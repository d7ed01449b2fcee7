"""Made-up scenarios in the layout of AliExpress, drawn from a known truth; nothing is downloaded.

An impression has 16 categorical fields and 63 numeric columns in [0, 1]. As in the real files, many columns are zero in
most rows. Columns depend on each other through a few latent factors, those of the user and of the item shown. The
popularity of categories and the scale of factors differ from scenario to scenario (`impressions`).

The truth is a random network: ``h = tanh(W x + b)``, x a projection of the columns and of the fields' embeddings
(`world`), and one readout of h for each scenario and task (`truth`).

A scenario's rows depend on its own settings and the seed, not on which other scenarios there are.
"""
