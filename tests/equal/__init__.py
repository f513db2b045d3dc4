"""The differential suite: all that the YAML knows, trained by hptune and by stock `keras.Model.fit`, must be equal.

`python -m tests.equal` walks all of it and prints the table; `test_equal.py` holds a sample that every test run takes.
"""
