#include <algorithm>
#include <cctype>
#include <string>

bool matches_word(const std::string &text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
}
