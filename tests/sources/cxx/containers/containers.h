#pragma once
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>
using Words = std::map<std::string, int>;
Words count_words(const std::string &);
std::function<int(int)> doubler();
std::shared_ptr<std::string> make_shared_text(const char *);
