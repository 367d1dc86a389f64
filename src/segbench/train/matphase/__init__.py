"""MatPhase: a first network, what it is likely wrong about, and a local network for those pixels.

The first network (UGSM) is trained as any other. What it says of training images (`said`) trains a classifier of its
errors (`doubt`, HCL-IDK), and the pixels that this one doubts train the local network (`local`) in the order of
`curriculum` (HCL-USI). `release` makes one model of the three. Each stage is kept in a folder named after what it was
made of (`stage`): a second run trains nothing, a changed option trains again only what depends on it.
"""
