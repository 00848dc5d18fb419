"""The embedded CLIP, made from nothing: pictures of our own corpora, tokenizer, training, export.

`python -m training clip --out FOLDER` runs the whole recipe. What ships in `evaluation/embedded_clip`
was made by it, and `recipe.json` beside the weights says with which settings.
"""
