// The program that several files of tests are together: `PROGRAM FILE [PATTERN]` runs those of one of them.
#include "testing.hpp"

int main(int argc, char** argv)
{
    return realtime::testing::runTests(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : nullptr);
}
