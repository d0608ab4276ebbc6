#include "base/thread/spsc_queue.hpp"

#include <memory>
#include <thread>

#include "testing.hpp"

using realtime::SpscQueue;

TEST(capacity_is_rounded_up_to_a_power_of_two)
{
    assert_int_equal(SpscQueue<int>(0).capacity(), 2);
    assert_int_equal(SpscQueue<int>(3).capacity(), 4);
    assert_int_equal(SpscQueue<int>(8).capacity(), 8);
}

TEST(items_come_out_in_the_order_they_went_in)
{
    SpscQueue<int> queue(4);
    for (int round = 0; round < 10; ++round) { // the indices pass the end of the ring
        for (int i = 0; i < 3; ++i) {
            assert_true(queue.push(round * 3 + i));
        }
        for (int i = 0; i < 3; ++i) {
            int got = -1;
            assert_true(queue.pop(got));
            assert_int_equal(got, round * 3 + i);
        }
    }
    int none = 0;
    assert_false(queue.pop(none));
    assert_true(queue.empty());
}

TEST(a_full_queue_refuses_and_leaves_the_item_with_the_caller)
{
    SpscQueue<std::unique_ptr<int>> queue(2);
    assert_true(queue.push(std::make_unique<int>(1)));
    assert_true(queue.push(std::make_unique<int>(2)));
    auto third = std::make_unique<int>(3);
    assert_false(queue.push(std::move(third)));
    // NOLINTBEGIN(bugprone-use-after-move): that it was not moved is what is tested
    assert_non_null(third.get());
    assert_int_equal(*third, 3);
    // NOLINTEND(bugprone-use-after-move)

    std::unique_ptr<int> got;
    assert_true(queue.pop(got));
    assert_int_equal(*got, 1);
    assert_true(queue.push(std::move(third)));
}

TEST(two_threads_hand_over_every_item_once_and_in_order)
{
    constexpr int Items = 200'000;
    SpscQueue<std::unique_ptr<int>> queue(64); // small, so that both ends are met often
    std::thread producer([&queue] {
        for (int i = 0; i < Items;) {
            auto item = std::make_unique<int>(i);
            while (!queue.push(std::move(item))) {
                std::this_thread::yield();
            }
            ++i;
        }
    });
    int expected = 0, wrong = 0;
    std::unique_ptr<int> got;
    while (expected < Items) {
        if (!queue.pop(got)) {
            std::this_thread::yield();
            continue;
        }
        wrong += got && *got == expected ? 0 : 1;
        ++expected;
    }
    producer.join();
    assert_int_equal(wrong, 0);
    assert_true(queue.empty());
}

TEST_MAIN()
