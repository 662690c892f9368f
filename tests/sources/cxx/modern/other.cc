#include "modern.h"
std::array<int (Version::*)(), 2> methods() { return {&Version::packed, &Version::negated}; }
