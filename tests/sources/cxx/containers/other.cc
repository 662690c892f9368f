#include "containers.h"

Words count_words(const std::string &text) {
  Words words;
  for (std::size_t at = 0; at != std::string::npos;) {
    std::size_t end = text.find(' ', at);
    ++words[text.substr(at, end - at)];
    at = end == std::string::npos ? end : end + 1;
  }
  return words;
}
std::function<int(int)> doubler() {
  return [](int x) { return 2 * x; };
}
std::shared_ptr<std::string> make_shared_text(const char *text) { return std::make_shared<std::string>(text); }
