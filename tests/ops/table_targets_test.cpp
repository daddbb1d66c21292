// Every op on every instruction set that this processor has, and on any number of threads.

#include "hebb/backend/cpu/cpu_backend.h"
#include "hebb/core/parallel.h"
#include "tests/support/table_test.h"
#include "tests/support/threads.h"

namespace hebb::test_support {
namespace {

class Targets : public TableTest {};

TEST_P(Targets, EqualsThePlainKernelOnEachInstructionSet) {
  for (const std::string& target : cpu_targets()) {
    force_cpu_target(target);
    on_fresh_thread([&] {
      for_each_sample([&](const Call& sample) -> std::string {
        for (const Form form : {Form::contiguous, Form::strided})
          if (std::string text = check_forward(laid_out(sample, form)); !text.empty())
            return target + ": " + text;
        return {};
      });
    });
  }
  force_cpu_target("");
}

class Threads : public TableTest {
 private:
  test_support::Threads put_back_;
};

TEST_P(Threads, ResultsDoNotDependOnTheirNumber) {
  for_each_sample([](const Call& sample) -> std::string {
    for (const Call& call : enlarged(sample, 150'000)) {
      set_num_threads(1);
      const Result one = run(call);
      for (const int n : {2, 3, 5}) {
        set_num_threads(n);
        const std::string text = bit_difference(call, run(call), one);
        if (!text.empty()) return std::to_string(n) + " threads: " + text;
      }
    }
    return {};
  });
}

TEST_P(Threads, LargeOperandsEqualThePlainKernel) {
  for_each_sample([](const Call& sample) -> std::string {
    for (const Call& call : enlarged(sample, 20'000))
      if (std::string text = check_forward(call, 30); !text.empty()) return text;
    return {};
  });
}

HEBB_FOR_THE_TABLE(Targets);
HEBB_FOR_THE_TABLE(Threads);

}  // namespace
}  // namespace hebb::test_support
