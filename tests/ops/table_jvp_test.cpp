// Forward mode of every op against reverse mode.
#include "tests/support/op_gradients.h"
#include "tests/support/table_test.h"

namespace hebb::test_support {
namespace {

class ForwardMode : public TableTest {};

TEST_P(ForwardMode, IsTheTransposeOfReverseMode) { for_each_sample(check_forward_mode); }

TEST_P(ForwardMode, IsDifferentiableItself) { for_each_sample(check_gradient_of_forward_mode); }

HEBB_FOR_THE_TABLE(ForwardMode);

}  // namespace
}  // namespace hebb::test_support
