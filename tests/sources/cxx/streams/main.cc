//#Status: 42
// iostream and locale: the library's objects, facets and their ids.
#include "streams.h"
#include <iomanip>
#include <iostream>
#include <locale>
#include <sstream>
#include <string>

struct Grouped : std::numpunct<char> {
  char do_thousands_sep() const override { return '\''; }
  std::string do_grouping() const override { return "\3"; }
};

int main() {
  std::cout << "cout " << 42 << ' ' << 3.25 << ' ' << true << ' ' << std::hex << 255 << std::dec << '\n';
  std::cerr << "cerr " << std::setw(8) << std::setfill('*') << 7 << std::endl;
  std::clog << "clog " << std::fixed << std::setprecision(3) << 2.0 / 3 << std::endl;
  std::cout << Point{1, 2} << ' ' << std::boolalpha << false << '\n';
  std::istringstream in("12 3.5 word (4,5)");
  int i;
  double d;
  std::string word;
  Point p;
  in >> i >> d >> word >> p;
  std::cout << i << ' ' << d << ' ' << word << ' ' << p << ' ' << !in.fail() << '\n';
  std::ostringstream out;
  out.imbue(std::locale(std::locale::classic(), new Grouped));
  out << 1234567;
  std::cout << out.str() << '\n';
  auto &type = std::use_facet<std::ctype<char>>(std::cout.getloc());
  std::cout << type.toupper('q') << type.is(std::ctype_base::digit, '7') << '\n';
  std::cout << std::has_facet<std::num_put<char>>(std::locale()) << same_facet(type) << std::isalpha('x', std::locale()) << '\n';
  in.clear();
  in.exceptions(std::ios::failbit | std::ios::eofbit);
  try {
    in >> i;
  } catch (const std::ios_base::failure &) {
    std::cout << "failure\n";
  }
  int c = std::cin.get();
  std::wostringstream wide;
  wide << L"wide " << 5;
  std::cout << (c == EOF) << std::cin.eof() << wide.str().size() << std::flush;
  return before_main() == "made before main" ? 42 : 1;
}
