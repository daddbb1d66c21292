// The smallest use of an installed hebb: the version, and one sum.
#include <hebb/hebb.h>

#include <iostream>

int main() {
  std::cout << "hebb " << hebb::version() << '\n';
  auto t = hebb::ones({2, 3});
  return hebb::sum(t).item<float>() == 6.f ? 0 : 1;
}
