// How many chat requests run at once, in all loops together (MAX_CONCURRENT_REQUESTS). Above that they are refused: by
// their head, before a body has been read, wherever that can be seen.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>

#include "core/metrics.hpp"
#include "core/result.hpp"

namespace parley::server {

/// Shared by all loops.
class Admission {
public:
    /// Before any request; 0 = no limit.
    void limit(std::size_t requests_max) noexcept { requests_max_ = requests_max; }

    /// A request's place, for as long as it lives.
    class Place {
    public:
        /// `under_way` is the loop's gauge; `admission` and it outlive the place.
        Place(Admission& admission, core::Counter& under_way) noexcept : admission_(admission), under_way_(under_way) {
            under_way_.add(1);
            if (admission_.requests_max_ == 0) return; // what all loops share is touched only where it is needed
            has_room_ = admission_.requests_.fetch_add(1, std::memory_order_relaxed) < admission_.requests_max_;
        }
        ~Place() {
            under_way_.add(-1);
            if (admission_.requests_max_ != 0) admission_.requests_.fetch_sub(1, std::memory_order_relaxed);
        }
        Place(Place const&) = delete;
        Place& operator=(Place const&) = delete;

        /// Without room the request is to be refused, and the place left at once.
        bool has_room() const noexcept { return has_room_; }

    private:
        Admission& admission_;
        core::Counter& under_way_;
        bool has_room_ = true;
    };

    /// Whether another one would find a place now. It takes none: who is slow with a body must not keep others out.
    bool has_room() const noexcept {
        return requests_max_ == 0 || requests_.load(std::memory_order_relaxed) < requests_max_;
    }

    /// kOverloaded.
    static core::Error too_many() {
        auto error =
            core::make_error(core::Errc::kOverloaded, "Too many requests are under way. Please try again shortly.");
        error.retry_after = std::chrono::seconds(1);
        return error;
    }

private:
    std::size_t requests_max_ = 0;
    std::atomic<std::size_t> requests_{0};
};

} // namespace parley::server
