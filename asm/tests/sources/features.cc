// Exceptions, templates, virtual functions, thread-local objects, coroutines: what only C++ compilers write.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <variant>
#include <vector>

struct Shape {
    virtual ~Shape() = default;
    virtual double area() const = 0;
};
struct Circle : Shape {
    double r;
    explicit Circle(double r) : r(r) {}
    double area() const override { return 3.14159 * r * r; }
};
struct Square : virtual Shape {
    double a = 2;
    double area() const override { return a * a; }
};

thread_local std::string name = "thread";
inline int shared_counter = 5;
template <typename T> T twice(T x) { return x + x; }
template <typename T> struct Unique { static int count; };
template <typename T> int Unique<T>::count = 1;

int risky(int n) {
    try {
        if (n > 3) throw std::runtime_error("too large");
        std::vector<int> v(static_cast<size_t>(n), 1);
        return v.at(static_cast<size_t>(n));
    } catch (const std::out_of_range &e) {
        return -1;
    } catch (...) {
        std::cerr << "other\n";
        throw;
    }
}

std::map<std::string, std::vector<int>> words(const std::string &text) {
    std::map<std::string, std::vector<int>> out;
    std::istringstream in(text);
    std::string word;
    for (int i = 0; in >> word; i++) out[word].push_back(i);
    return out;
}

std::variant<int, std::string> pick(bool b) {
    if (b) return 1;
    return std::string("text");
}

int main(int argc, char **argv) {
    std::vector<std::unique_ptr<Shape>> shapes;
    shapes.push_back(std::make_unique<Circle>(2.0));
    shapes.push_back(std::make_unique<Square>());
    std::sort(shapes.begin(), shapes.end(), [](auto &a, auto &b) { return a->area() < b->area(); });
    std::function<int(int)> f = [&](int x) { return x + argc + twice(x); };
    std::thread worker([&] { name += std::to_string(f(3)); });
    worker.join();
    auto value = pick(argc > 1);
    std::optional<int> maybe;
    if (auto *number = std::get_if<int>(&value)) maybe = *number;
    for (auto &[word, places] : words(argv[0])) std::cout << word << places.size() << name << Unique<long>::count++;
    return risky(argc) + maybe.value_or(shared_counter);
}
