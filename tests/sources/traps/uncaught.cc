// Nobody catches it.
#include <stdexcept>
int main() { throw std::runtime_error("uncaught"); }
