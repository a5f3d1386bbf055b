"""Are scores inherited, and what do descendants keep of each head's weights?"""
