// Whether an answer is what was asked for, see answer_check.hpp.
// Owned by the load generator.
// Runs on its single thread.
#include "bench/common/answer_check.hpp"

#include <algorithm>
#include <string>

namespace parley::bench {

void AnswerCheck::whole(LoadConnection const& connection, std::uint64_t now_ns, bool in_time) {
    int const status = connection.reader.status();
    ++report_.statuses[status];
    if (options_.is_refusal(status)) return refused(connection, now_ns);
    if (!as_expected(connection)) return;
    ++report_.requests;
    if (in_time) ++report_.in_time;
    report_.marks += connection.marks;
    report_.latency.add(static_cast<std::int64_t>(now_ns - connection.start_ns));
}

// A refusal has to say so as OpenAI's API does; a bare status would not be understood by a client.
void AnswerCheck::refused(LoadConnection const& connection, std::uint64_t now_ns) {
    if (!connection.refusal.starts_with(R"({"error":)"))
        return report_.add_fault(Fault::kStatus, "not an error body: " + connection.refusal);
    ++report_.refused;
    if (!connection.reader.has_retry_after()) ++report_.refused_without_time;
    report_.refusal.add(static_cast<std::int64_t>(now_ns - connection.start_ns));
    report_.refusal_sent.add(static_cast<std::int64_t>(now_ns - connection.sent_ns));
}

bool AnswerCheck::as_expected(LoadConnection const& connection) {
    if (connection.reader.status() != 200) {
        report_.add_fault(Fault::kStatus, std::string(connection.reader.first_line()) + ": " + connection.refusal);
        return false;
    }
    if (connection.marks != marks_expected_) {
        report_.add_fault(Fault::kMarks, std::to_string(connection.marks) + " content events arrived, " +
                                             std::to_string(marks_expected_) + " were expected");
        report_.marks_lost += marks_expected_ - std::min(marks_expected_, connection.marks);
        return false;
    }
    if (options_.stream && !connection.scanner.ended_with_done()) {
        report_.add_fault(Fault::kNoDone, "the stream did not end with data: [DONE]");
        return false;
    }
    return true;
}

void AnswerCheck::left(LoadConnection const& connection) {
    if (connection.reader.status() != 200 && !connection.reader.first_line().empty()) {
        report_.add_fault(Fault::kStatus, connection.reader.first_line());
    } else if (options_.leave_after_events == 0 && connection.marks > 0) {
        report_.add_fault(Fault::kMarks, "an event came before the client left");
    } else {
        ++report_.aborted;
    }
}

void AnswerCheck::cut(LoadConnection const& connection) {
    if (connection.marks > 0) report_.marks_lost += marks_expected_ - std::min(marks_expected_, connection.marks);
}

} // namespace parley::bench
