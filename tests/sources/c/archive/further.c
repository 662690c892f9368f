int further(int x) { return x * 10; }
