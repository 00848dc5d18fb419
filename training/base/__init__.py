"""The embedded base model, made from nothing: corpus, tokenizer, pretraining, export.

`python -m training base --out FOLDER` runs the whole recipe. What ships in `captioning/embedded` was
made by it, and `recipe.json` beside the weights says with which settings.
"""
