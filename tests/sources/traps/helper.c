int helper(int x) { return 40 + x; }
