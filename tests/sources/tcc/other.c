struct point { double x, y; };
int counter = 10;
const char *const names[] = {"zero", "one", 0};
struct point middle(struct point a, struct point b) {
  struct point m;
  m.x = (a.x + b.x) / 2;
  m.y = (a.y + b.y) / 2;
  return m;
}
long apply(long (*f)(long), long x) { return f(x); }
unsigned long long divide(unsigned long long a, unsigned long long b) { return a / b; }
