"""TripoSR in plain PyTorch: weight-compatible with the released checkpoint, and with the original's public face.

Architecture: Tochilkin et al. 2024, "TripoSR: Fast 3D Object Reconstruction from a Single Image" (arXiv:2403.02151).
"""
