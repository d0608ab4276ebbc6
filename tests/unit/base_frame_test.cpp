#include "base/frame.hpp"

#include <stdexcept>

#include "testing.hpp"

using namespace realtime;

TEST(a_frame_counts_its_owners)
{
    FramePtr first = Frame::copy("abc");
    assert_false(first->shared());
    {
        const std::vector<FramePtr> others{first, first};
        assert_true(first->shared());
        assert_ptr_equal(first.get(), others[1].get());
    }
    assert_false(first->shared());
}

TEST(moving_steals_and_leaves_null)
{
    FramePtr first = Frame::copy("abc");
    Frame* raw = first.get();
    FramePtr second = std::move(first);
    assert_ptr_equal(second.get(), raw);
    assert_false(second->shared());
    assert_false(static_cast<bool>(first)); // NOLINT(bugprone-use-after-move): that is what is tested
}

TEST(assignment_to_itself_keeps_the_frame)
{
    FramePtr frame = Frame::copy("abc");
    FramePtr& same = frame;
    frame = same;
    assert_text_equal(frame->view(), "abc");
    assert_false(frame->shared());
    frame = std::move(same);
    assert_text_equal(frame->view(), "abc");
}

TEST(assignment_drops_the_former_frame)
{
    FramePtr frame = Frame::copy("abc");
    const FramePtr kept = frame;
    frame = Frame::copy("def");
    assert_false(kept->shared());
    frame = nullptr;
    assert_false(static_cast<bool>(frame));
}

TEST(a_reference_passes_through_c)
{
    FramePtr frame = Frame::copy("abc");
    const FramePtr other = frame;
    Frame* raw = frame.release();
    assert_false(static_cast<bool>(frame));
    assert_true(other->shared());
    frame = FramePtr::adopt(raw);
    assert_true(other->shared());
    frame = FramePtr();
    assert_false(other->shared());
}

TEST(an_empty_frame_is_legal)
{
    assert_int_equal(Frame::make(0)->size(), 0);
    assert_int_equal(Frame::copy({})->size(), 0);
    FrameBuilder builder;
    assert_int_equal(builder.finish()->size(), 0);
}

TEST(an_impossible_size_is_bad_alloc)
{
    bool refused = false;
    try {
        Frame::make(SIZE_MAX - 4);
    } catch (const std::bad_alloc&) {
        refused = true;
    }
    assert_true(refused);
}

TEST(a_builder_appends_across_every_growth)
{
    FrameBuilder builder;
    std::string expected;
    for (int i = 0; i < 20'000; ++i) {
        builder.append(static_cast<char>('a' + i % 26));
        builder.append("xyz");
        builder.append(std::string_view{});
        expected += static_cast<char>('a' + i % 26);
        expected += "xyz";
    }
    assert_int_equal(builder.size(), expected.size());
    assert_text_equal(builder.view(), expected);
    const FramePtr frame = builder.finish();
    assert_text_equal(frame->view(), expected);
}

TEST(numbers_are_decimal)
{
    FrameBuilder builder;
    builder.number(0);
    builder.append(' ');
    builder.number(18446744073709551615U);
    assert_text_equal(builder.finish()->view(), "0 18446744073709551615");
}

TEST(prepend_uses_the_headroom_and_no_more)
{
    FrameBuilder builder;
    builder.append("body");
    builder.prepend("head ");
    builder.prepend(std::string(FrameBuilder::Headroom - 5, '.'));
    bool refused = false;
    try {
        builder.prepend("!");
    } catch (const std::length_error&) {
        refused = true;
    }
    assert_true(refused);
    assert_text_equal(builder.finish()->view(), std::string(FrameBuilder::Headroom - 5, '.') + "head body");
}

TEST(prepend_works_without_a_body)
{
    FrameBuilder builder;
    builder.prepend("head");
    assert_text_equal(builder.finish()->view(), "head");
}

TEST(a_builder_is_reusable_after_finish_and_after_a_move)
{
    FrameBuilder builder(100);
    builder.append("one");
    const FramePtr one = builder.finish();
    assert_int_equal(builder.size(), 0);
    builder.append("two");
    FrameBuilder other = std::move(builder);
    other.append("three");
    builder = std::move(other);
    assert_text_equal(builder.view(), "twothree");
    assert_text_equal(one->view(), "one");
    assert_text_equal(builder.finish()->view(), "twothree");
}

TEST_MAIN()
