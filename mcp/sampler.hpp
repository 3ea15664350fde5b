// What a server may ask of a model ("sampling"), where the configuration names an agent for it. The rooms above
// implement it; one object, owned by the Host and used on its loop. Source: specification 2025-11-25, "Sampling".
#pragma once

#include <boost/json/object.hpp>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/server_spec.hpp"

namespace parley::mcp {

class Sampler {
public:
    virtual ~Sampler() = default;

    /// The result of sampling/createMessage. `params` are the server's, untrusted; `spec.sampling` names the agent.
    /// Errors: kInvalidValue for params that are not understood (the server is told the message); kAgentUnavailable,
    /// and what the model call says (the server is told only that it failed).
    virtual core::Task<boost::json::object> create_message(core::Context const& context, ServerSpec const& spec,
                                                           boost::json::object params) = 0;
};

} // namespace parley::mcp
