// k6's script: a different body a request, and every answer checked.
import exec from "k6/execution";
import http from "k6/http";

const head = { headers: { "Content-Type": "application/json" } };

export default function () {
  const row = exec.scenario.iterationInTest;
  const content = { first_name: "Anna", bonus: row % 5000 };
  const fields = { token: "benchmark", id: 12, matching: "email", email: `person${row}@example.com`, content };
  const answer = http.post(__ENV.URL, JSON.stringify(fields), head);
  if (answer.status !== 200 || answer.json("error") !== 0) exec.test.abort("the endpoint refused");
}
