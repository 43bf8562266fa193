"""What an agent gets done with the server's tools: questions, a scripted agent, a harness.

`questions` makes multi-step questions with checkable answers from samples of test patients;
`harness` puts them to a model that sees the tools of a real server and nothing else; `agent` is a
scripted model, `models` speaks to any that has an HTTP endpoint; `run` prints the table.
"""
