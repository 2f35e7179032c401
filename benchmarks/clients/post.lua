-- wrk's script: the body in the file that is named behind the address, again and again.
function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   wrk.method = "POST"
   wrk.headers["Content-Type"] = "application/json"
   wrk.body = file:read("*a")
   file:close()
   prepared = wrk.format()
end

function request()
   return prepared
end
