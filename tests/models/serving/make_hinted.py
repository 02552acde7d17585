"""Save models of functions with MLflow, and say what its own scoring server answers: `make_hinted.py DIRECTORY`."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pydantic
from mlflow.models import infer_signature
from mlflow.pyfunc import scoring_server
from mlflow.types.llm import ChatCompletionResponse
from mlflow.types.type_hints import TypeFromExample

logging.disable(logging.CRITICAL)
root = Path(sys.argv[1])


class Message(pydantic.BaseModel):
    role: str
    text: str | None = None


class Messages(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Message]) -> list[str]:
        return [f"{each.role}: {each.text}" for each in model_input]


class Counts(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[dict[str, Any]]) -> list[int]:
        return [len(each) for each in model_input]


class Typed(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: TypeFromExample):
        return [type(model_input).__name__, str(model_input)]


class Seen(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        rows = model_input.to_numpy(dtype=object).tolist()
        return [[str(each) for each in model_input.columns], rows]


class Configured(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        self.by = context.model_config["by"]

    def predict(self, context, model_input, params=None):
        return (model_input["a"] * self.by).tolist()


class Chat(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        said = {"role": "assistant", "content": f"{messages[-1].content} {params.temperature}"}
        return ChatCompletionResponse.from_dict({"choices": [{"index": 0, "message": said}], "created": 1})


NUMBERS = [{"inputs": [1, 2]}, {"instances": [1, 2]}, {"inputs": [[1, 2], [3, 4]]}, {"inputs": 5}, {"inputs": "x"},
           {"inputs": ["x"]}, {"dataframe_split": {"data": [[1, 2]]}}]  # fmt: skip
LISTS = [{"inputs": {"v": [1.5, 2]}}, {"inputs": [{"v": [1.5]}, {"v": []}]}, {"dataframe_records": [{"v": ["no"]}]},
         {"dataframe_split": {"columns": ["v"], "data": [[[1, 2.5]]]}}]  # fmt: skip
OBJECTS = [{"inputs": {"o": {"x": 1, "y": ["a"]}}}, {"dataframe_records": [{"o": {"x": 2}}]},
           {"dataframe_records": [{"o": {"x": "bad", "y": []}}]}]  # fmt: skip
CASES = {
    "messages": (Messages(), [{"inputs": [{"role": "a", "text": "x"}, {"role": "b"}]}, {"inputs": [{"text": "x"}]},
                              {"instances": [{"role": "a"}]}], {}),
    "counts": (Counts(), [{"inputs": [{"a": 1, "b": 2}, {"c": 3}]}, {"inputs": []}], {}),
    "texts_as_example": (Typed(), [{"inputs": ["a", "b"]}], {"input_example": ["x"]}),
    "rows_as_example": (Typed(), [{"inputs": [{"a": 1}, {"a": 2}]}], {"input_example": [{"a": 3}, {"a": 4}]}),
    "row_as_example": (Typed(), [{"inputs": {"a": 1}}, {"dataframe_split": {"columns": ["a"], "data": [[1]]}}],
                       {"input_example": {"a": 3}}),
    "numbers": (Seen(), NUMBERS, {"signature": infer_signature([1, 2])}),
    "configured": (Configured(), [{"inputs": {"a": [1, 2]}}], {"model_config": {"by": 3}}),
    "chat": (Chat(), [{"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}], {}),
    "column": (Seen(), [{"inputs": [1, 2]}, {"inputs": ["x"]}],
               {"signature": infer_signature(pd.DataFrame({"a": [1]}))}),
    "lists": (Seen(), LISTS, {"signature": infer_signature(pd.DataFrame({"v": [[1.5]]}))}),
    "objects": (Seen(), OBJECTS, {"signature": infer_signature(pd.DataFrame({"o": [{"x": 1, "y": ["a"]}]}))}),
}  # fmt: skip


def judge(path: Path, body: object) -> list[object]:
    model = mlflow.pyfunc.load_model(str(path))
    try:
        said = scoring_server.invocations(
            json.dumps(body), "application/json", model, model.metadata.get_input_schema()
        )
    except mlflow.MlflowException as error:
        return [error.get_http_status_code(), None]
    return [said.status, json.loads(said.response) if said.status == 200 else None]


found = {}
for name, (model, bodies, more) in CASES.items():
    mlflow.pyfunc.save_model(root / name, python_model=model, pip_requirements=[], **more)
    found[name] = [[body, *judge(root / name, body)] for body in bodies]
(root / "judged.json").write_text(json.dumps(found))
