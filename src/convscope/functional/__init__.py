"""Operations on tensors without state: each family of the lectures in a file.

Everything here takes tensors of one, two or three spatial axes, (N, C, L),
(N, C, H, W) or (N, C, D, H, W), and reads its sizes from ``convscope.arithmetic``.
"""
