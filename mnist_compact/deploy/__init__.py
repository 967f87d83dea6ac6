"""Use of trained networks outside training: pictures of digits, and export to other programs and devices."""
