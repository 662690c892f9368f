//#Status: 42
//#Cover: values
// std::regex: thousands of weak symbols.
#include <cstdio>
#include <regex>
#include <string>

bool matches_word(const std::string &);

int main() {
  const std::regex relocation("R_X86_64_([A-Z]+)(\\d*)");
  const std::string text = "R_X86_64_PC32 R_X86_64_GOTPCREL R_X86_64_64";
  int found = 0;
  for (std::sregex_iterator m(text.begin(), text.end(), relocation), end; m != end; ++m, ++found)
    std::printf("%s|%s|%s\n", m->str().c_str(), (*m)[1].str().c_str(), (*m)[2].str().c_str());
  std::printf("%s\n", std::regex_replace(text, std::regex("R_X86_64_"), "").c_str());
  try {
    std::regex bad("(unclosed");
  } catch (const std::regex_error &e) {
    std::printf("error %d\n", e.code() == std::regex_constants::error_paren);
  }
  return found == 2 && matches_word("word") && !matches_word("two words") ? 42 : found;
}
