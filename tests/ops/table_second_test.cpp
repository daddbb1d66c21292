// Every op's second derivative: its vjp, differentiated, against central differences of the vjp.
#include "tests/support/op_gradients.h"
#include "tests/support/table_test.h"

namespace hebb::test_support {
namespace {

class SecondGradients : public TableTest {};

TEST_P(SecondGradients, EqualCentralDifferencesOfTheGradient) { for_each_sample(check_second_gradient); }

HEBB_FOR_THE_TABLE(SecondGradients);

}  // namespace
}  // namespace hebb::test_support
