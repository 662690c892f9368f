#include <stdexcept>
struct Throws { ~Throws(); };
Throws::~Throws() {}
inline const char *which() { static const char *const name = "second, and longer"; return name; }
template <class T> int body(T x) {
  Throws t;
  if (x == 1000)
    throw std::runtime_error("never");
  return x + 2;
}
const char *which_there() { return which(); }
int body_there(int x) { try { return body(x); } catch (...) { return 0; } }
