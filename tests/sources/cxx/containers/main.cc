//#Status: 42
// The standard library's templates: containers, strings, smart pointers, function objects.
#include "containers.h"
#include <cstdio>
#include <optional>
#include <set>
#include <variant>

struct Visitor {
  int operator()(int i) const { return i; }
  int operator()(const std::string &s) const { return static_cast<int>(s.size()); }
};

int main() {
  Words words = count_words("the linker binds the symbol and the symbol binds the place");
  for (const auto &[word, count] : words)
    std::printf("%s %d\n", word.c_str(), count);
  std::vector<int> numbers(50);
  int next = -25, total = 0;
  for (int &n : numbers)
    total += n = next++;
  std::set<int> unique(numbers.begin() + 40, numbers.end());
  std::printf("%d %d %d %zu\n", numbers[1], numbers.back(), total, unique.size());
  std::function<int(int)> compose = [f = doubler(), &numbers](int x) { return f(x) + numbers[0]; };
  std::printf("function %d\n", compose(21));
  auto shared = make_shared_text("shared");
  std::weak_ptr<std::string> weak = shared;
  {
    auto second = shared;
    std::printf("use count %ld %s\n", weak.use_count(), second->c_str());
  }
  shared.reset();
  std::printf("expired %d\n", weak.expired());
  std::variant<int, std::string> either = std::string("four");
  int length = std::visit(Visitor{}, either);
  try {
    (void)std::get<int>(either);
  } catch (const std::bad_variant_access &) {
    length += 100;
  }
  std::optional<int> nothing;
  std::printf("variant %d optional %d\n", length, nothing.value_or(8));
  try {
    (void)words.at("absent");
  } catch (const std::out_of_range &e) {
    std::printf("out of range\n");
  }
  std::string text(40, 'x');
  text.replace(5, 3, "replacement").insert(0, std::to_string(3.5)).append("e");
  std::printf("%s %zu\n", text.c_str(), text.find("place"));
  return words["the"] == 4 && length == 104 ? 42 : 1;
}
