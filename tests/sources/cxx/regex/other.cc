#include <regex>
#include <string>

// The same instantiation as in the other file: one copy of each of its functions is kept.
bool matches_word(const std::string &text) {
  static const std::regex *const word = new std::regex("\\w+");
  return std::regex_match(text, *word);
}
